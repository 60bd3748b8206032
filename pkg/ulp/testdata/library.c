/* A library with one symbol of each kind that matters to live patching. */
#include <stdio.h>

int data = 3;
const int constant = 4;
__thread int tls;
static int private_data;
__attribute__((used)) static int (*const relocated)(const char *) = puts;

/* Uses the table of contents, so that on ppc64le its global and local entry points differ. */
int exported(int x)
{
	private_data += x;
	return puts("x") + relocated("y") + tls;
}

/* Uses none. */
int leaf(int x) { return 3 * x; }

__attribute__((noinline, noclone)) static int hidden(int x) { return x * private_data + data; }

int calls_hidden(int x) { return hidden(x) + constant; }

__attribute__((patchable_function_entry(0, 0))) int without_nops(int x) { return x + 1; }

/* Listed, but with too few NOPs. */
__attribute__((patchable_function_entry(2, 0))) int few_nops(int x) { return x + 2; }

static int one(void) { return 1; }
#ifdef IFUNC
static int (*choose(void))(void) { return one; }
int indirect(void) __attribute__((ifunc("choose")));
#endif

extern int absent(void) __attribute__((weak));
int calls_absent(void) { return absent ? absent() : one(); }

#ifdef VERSIONS
int versioned_old(void) { return 1; }
int versioned_new(void) { return 2; }
__asm__(".symver versioned_old, versioned@LIB_1");
__asm__(".symver versioned_new, versioned@@LIB_2");
#endif
