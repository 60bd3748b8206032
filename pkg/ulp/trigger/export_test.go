package trigger
