// A library that can be patched.
int counter = 7;
int value(void) { return counter; }
int value_old(void) { return counter + 1; }
int value_new(void) { return counter + 2; }
static int chosen(void) { return 3; }
static int (*choose(void))(void) { return chosen; }
int indirect(void) __attribute__((ifunc("choose")));
__thread int local = 5;
#ifdef VERSIONS
__asm__(".symver value_old, versioned@V1");
__asm__(".symver value_new, versioned@@V2");
#endif
