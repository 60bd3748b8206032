/* The next number of the library's own state, with its last bit turned: right only if the reference is. */
#define _DEFAULT_SOURCE
#include <stdint.h>
#include <stdlib.h>

struct random_data *ulpr_state = NULL;

long random_lp(void)
{
	int32_t number = 0;

	random_r(ulpr_state, &number);
	return number ^ 1;
}
