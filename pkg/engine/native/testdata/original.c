// A live patch for library.c whose replacements call what they replace.
#ifndef ANSWER
#define ANSWER 10
#endif

int (*lpbuild_original_first)(void);
int (*lpbuild_original_second)(void);
int (*lpbuild_original_calls)(int (*)(int), int);

int first_lp(void) { return lpbuild_original_first() + 1; }
int second_lp(void) { return lpbuild_original_second() + 1; }

static int adds(int v) { return v; }

// calls the original, which calls back; when it has come back, another original.
int calls_lp(int (*f)(int), int arg) {
	int r = lpbuild_original_calls(f, arg) + lpbuild_original_first();
	return lpbuild_original_calls(adds, r) + ANSWER;
}

// calls back by itself, and the original only after that.
int deep_lp(int depth, int (*f)(int), int arg) {
	int r = f(arg);
	(void)depth;
	return lpbuild_original_calls(adds, r) + lpbuild_original_second() + ANSWER;
}
