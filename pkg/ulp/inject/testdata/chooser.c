// An indirect function, which nothing calls before somebody asks for it.
__attribute__((noinline)) static int one(void) { return 1; }
__attribute__((noinline)) static int two(void) { return 2; }
volatile int prefer = 2;
static void *resolve(void) { return prefer == 2 ? (void *)two : (void *)one; }
int chosen(void) __attribute__((ifunc("resolve")));
#ifdef USED
int split(void) { return chosen(); }
#endif
