/* Sleeps, and may not be looked at by others of its user. */
#include <sys/prctl.h>
#include <unistd.h>

int main(void)
{
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NAME, "hidden");
	for (;;) pause();
}
