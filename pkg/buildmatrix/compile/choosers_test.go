package compile

import "testing"

func FuzzChoosersIn(f *testing.F) {
	f.Add([]byte("/* compiled from: . */\n/* a.c:3:OF */ extern void *old (void); /* () */\n/* "+
		"a.c:4:NF */ extern int (*typed (void)) (int, int); /* () */\n"+
		"/* a.c:2:NF */ extern int works (int a, int b); /* (a, b) int a; int b; */\n"), "old",
		"works")
	f.Fuzz(func(t *testing.T, prototypes []byte, name, use string) {
		for _, c := range choosersIn(prototypes, map[string][]string{name: {"&" + use}}) {
			if c.Name == "" {
				t.Error("a function without a name")
			}
		}
	})
}
