/* A library with two versions of one function, which are different functions, and two of another, which are one. */
int bar_old(int x) { return x + 1; }
int bar_new(int x) { return x + 2; }
int same_old(int x) { return x + 3; }
extern int same_new(int x) __attribute__((alias("same_old")));

__asm__(".symver bar_old, bar@V1");
__asm__(".symver bar_new, bar@@V2");
__asm__(".symver same_old, same@V1");
__asm__(".symver same_new, same@@V2");
