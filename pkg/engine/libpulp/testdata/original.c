/* Replacements that call what they replace, TENS of which tell one container from another. */
int (*lpbuild_original_one)(void);
int (*lpbuild_original_two)(void);
int (*lpbuild_original_sum)(void);
int (*lpbuild_original_blocks)(const char *);
int one_lp(void) { return TENS * lpbuild_original_one(); }
int two_lp(void) { return TENS * lpbuild_original_two(); }
int sum_lp(void) { return TENS * lpbuild_original_sum(); }
int blocks_lp(const char *fifo) { return lpbuild_original_blocks(fifo) + lpbuild_original_one(); }
