package pulp_test

func engine(string) int { return 1 }
