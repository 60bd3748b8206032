/* Replacements for testdata/symbolversions.c. */
int old_lp(int x) { return x + 10; }
int new_lp(int x) { return x + 20; }
int same_lp(int x) { return x + 30; }
