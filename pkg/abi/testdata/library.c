struct node {
	struct node *next; /* circular */
	int value;
	unsigned small : 3, large : 9;
	union {
		long number;
		char bytes[12];
	};
};

enum colour { RED = 1, GREEN = -2, BLUE = 40 };
typedef int (*compare_t)(const void *, const struct node *);
typedef struct { short x, y; } point;

static int private_table[7];
static _Thread_local long per_thread = 3;
struct node *head;

static inline __attribute__((always_inline)) int deepest(int a)
{
	return private_table[a & 3] + 1;
}

static inline __attribute__((always_inline)) int middle(int a)
{
	return deepest(a) * 2;
}

__attribute__((noinline)) static int called(struct node *n, int unused)
{
	static int calls;
	return n->value + ++calls;
}

int outer(struct node *n, enum colour c, compare_t f, ...)
{
	point p = { (short)c, 2 };
	private_table[c & 3]++;
	return middle(n->value) + called(n, 3) + f(&p, n) + per_thread++;
}

int another(int a)
{
	return middle(a) + deepest(a + 1) + called(head, 3);
}
