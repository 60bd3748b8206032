// A function in two versions: who was linked earlier means the first one, who is linked now the second.
int in_v1(void) { return 1; }
int in_v2(void) { return 2; }
asm(".symver in_v1, versioned@V1");
asm(".symver in_v2, versioned@@V2");
