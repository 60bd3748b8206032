// An indirect function, which nothing calls before somebody asks for it.
__attribute__((noinline)) static int one(void) { return 1; }
__attribute__((noinline)) static int two(void) { return 2; }
volatile int prefer = 2;
static void *resolve(void) { return prefer == 2 ? (void *)two : (void *)one; }
#ifdef VERSIONS // the old one is always one()
static void *resolve_old(void) { return (void *)one; }
int in_v1(void) __attribute__((ifunc("resolve_old")));
int in_v2(void) __attribute__((ifunc("resolve")));
asm(".symver in_v1, chosen@V1");
asm(".symver in_v2, chosen@@V2");
#else
int chosen(void) __attribute__((ifunc("resolve")));
#endif
#ifdef USED
int split(void) { return chosen(); }
#endif
