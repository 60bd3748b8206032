/* A library that is patched. */
static volatile int secret = 100;
static volatile __thread int local = 7;
int one(void) { return 1; }
int two(void) { return 2; }
__attribute__((patchable_function_entry(0, 0))) int bare(void) { return 3; }
int sum(void) { return secret + local; }
