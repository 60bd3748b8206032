// Shapes that compilers make: a switch, virtual calls at the end, recursion, and a call in the first bytes through which an
// exception passes.
extern "C" {
struct ops { long (*other)(long); long (*fn)(long); };
__attribute__((noinline, noclone)) long s_thrower(long x) { if (x == 3) throw x; return x + 30; }
long s_throws(long x) { return s_thrower(x) + 1; }
long s_virtual(long x, void *, ops *o) { return o->fn(x); }
long s_recursion(long x) { return x <= 1 ? 1 : x * s_recursion(x - 1); }
volatile long seen;
long s_switch(long x) {
	switch (x) {
	case 0: seen = 4; return 100;
	case 1: seen = 5; return 211;
	case 2: seen = 6; return 322;
	case 3: seen = 7; return 133;
	case 4: seen = 8; return 544;
	case 5: seen = 9; return 155;
	case 6: seen = 1; return 966;
	}
	return x;
}
}
