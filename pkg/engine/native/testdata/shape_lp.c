long shape_lp(long x) { return 424242; }
