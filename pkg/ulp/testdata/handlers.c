// A library, to be compiled with -fexceptions, of which some functions have something to clean up.
#define F __attribute__((noinline, noclone))

void unlock(int *), elsewhere(int);

F void cleans(int a) {
	__attribute__((cleanup(unlock))) int locked = a;
	elsewhere(a);
}
static F void cleans_too(int a) {
	__attribute__((cleanup(unlock))) int locked = a + 1;
	elsewhere(a);
}
F void calls(int a) { cleans_too(a); asm volatile(""); }
F int plain(int a) { asm volatile(""); return a; }
