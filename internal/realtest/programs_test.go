package realtest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// program is a real server.
type program struct {
	name string
	uses []string // functions that it calls for each few requests
	// start starts the server for a port, and returns when it can be asked.
	start func(t testing.TB, port int) *server
}

// server is a running one.
type server struct {
	cmd    *exec.Cmd
	dial   func(n int) (client, error)
	verify func(t testing.TB, asked int64) // what the server has, after so many requests
}

var programs = []program{
	{"nginx", []string{"recv", "writev", "epoll_wait"}, startNginx},
	{"redis", []string{"read", "write", "epoll_wait"}, startRedis},
	{"postgres", []string{"recv", "send", "malloc"}, startPostgres},
	{"mariadb", []string{"recv", "malloc"}, startMariaDB},
	{"java", []string{"read", "write", "malloc"}, startJava},
	{"node", []string{"read", "malloc"}, startNode},
	{"python", []string{"recv", "send", "malloc"}, startPython},
	{"bubblewrap", []string{"recv", "send", "malloc"}, startBubblewrap},
}

// connect returns a server's clients.
func (s *server) connect(t testing.TB) []client {
	t.Helper()
	list := make([]client, clients)
	for n := range list {
		var err error
		if list[n], err = s.dial(n); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// launch starts a server as nobody, or as whoever says credential, and waits until its port is
// open.
func launch(t testing.TB, port int, who *syscall.SysProcAttr, args ...string) *server {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, who
	cmd.Env = append(environment, "HOME=/nonexistent")
	start(t, cmd)
	await(t, args[0]+" to listen", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return &server{cmd: cmd, verify: func(testing.TB, int64) {}}
}

// environment is that of all programs; each is told its home besides.
var environment = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}

// start starts a program that ends, with all its descendants, when the test does.
func start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for _, pid := range family(t, cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = cmd.Wait()
	})
}

// must runs a program to its end, as nobody.
func must(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.SysProcAttr = "/", nobody
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

const nginxConf = `daemon off;
user nobody nogroup;
worker_processes 2;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:%[2]d;
		root %[1]s/files;
	}
}
`

// startNginx starts nginx: a master that is root's, and two workers that are nobody's, with files
// of many sizes.
func startNginx(t testing.TB, port int) *server {
	d := home(t)
	if err := os.Mkdir(filepath.Join(d, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := make([][]byte, 50)
	for i := range files {
		files[i] = noise(0, uint64(i), 1+i*i*40)
		write(t, filepath.Join(d, "files", strconv.Itoa(i)), files[i])
	}
	conf := filepath.Join(d, "nginx.conf")
	write(t, conf, fmt.Appendf(nil, nginxConf, d, port))
	s := launch(t, port, nil, "nginx", "-c", conf)
	s.dial = func(int) (client, error) {
		return newWeb(func(c *web, i int) (*http.Response, []byte, error) {
			answer, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/%d", port, i%len(files)))
			return answer, files[i%len(files)], err
		}), nil
	}
	return s
}

// startRedis starts Redis with a log of all that was written to it.
func startRedis(t testing.TB, port int) *server {
	d := home(t)
	s := launch(t, port, nobody, "redis-server", "--port", strconv.Itoa(port), "--bind",
		"127.0.0.1", "--dir", d, "--save", "", "--appendonly", "yes", "--logfile",
		filepath.Join(d, "log"))
	s.dial = func(n int) (client, error) { return dialRedis(port, n) }
	s.verify = func(t testing.TB, asked int64) {
		c, err := dialRedis(port, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if got, err := c.command("GET", "requests"); err != nil ||
			got != strconv.FormatInt(asked, 10) {
			t.Errorf("redis has counted %s requests, want %d; %v", got, asked, err)
		}
	}
	return s
}

// startPostgres starts PostgreSQL with the bank of the test.
func startPostgres(t testing.TB, port int) *server {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not in /usr/lib/postgresql: run make deps-real")
	}
	bin, d := found[len(found)-1], filepath.Join(home(t), "data")
	must(t, filepath.Join(bin, "initdb"), "-D", d, "-U", "postgres", "-A", "trust", "--no-sync",
		"-E", "UTF8", "--locale=C.UTF-8")
	s := launch(t, port, nobody, filepath.Join(bin, "postgres"), "-D", d, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
		"-c", "autovacuum=off", "-c", "log_min_messages=error")
	var c *postgres
	await(t, "PostgreSQL to be ready", func() (ready bool) {
		var err error
		c, err = dialPostgres(port, 0)
		return err == nil
	})
	defer c.close()
	if _, err := c.query(makeBank); err != nil {
		t.Fatal(err)
	}
	s.dial = func(n int) (client, error) { return dialPostgres(port, n) }
	s.verify = func(t testing.TB, asked int64) {
		c, err := dialPostgres(port, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		got, err := c.query("SELECT sum(balance) FROM accounts; SELECT count(*) FROM history")
		if want := fmt.Sprintf("%d\n%d", money, asked); err != nil || got != want {
			t.Errorf("the bank has %q, want %q; %v", got, want, err)
		}
	}
	return s
}

// startMariaDB starts MariaDB with the bank of the test.
func startMariaDB(t testing.TB, port int) *server {
	d := filepath.Join(home(t), "data")
	must(t, "mariadb-install-db", "--no-defaults", "--datadir="+d,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	s := launch(t, port, nobody, "mariadbd", "--no-defaults", "--datadir="+d,
		"--port="+strconv.Itoa(port), "--bind-address=127.0.0.1", "--socket="+
			filepath.Join(d, "socket"), "--pid-file="+filepath.Join(d, "pid"), "--skip-log-bin",
		"--innodb-flush-log-at-trx-commit=0", "--log-error="+filepath.Join(d, "log"))
	c, err := dialMariaDB(port, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, statement := range makeMariaBank {
		if _, err := c.query(statement); err != nil {
			t.Fatal(err)
		}
	}
	s.dial = func(n int) (client, error) { return dialMariaDB(port, n) }
	s.verify = func(t testing.TB, asked int64) {
		c, err := dialMariaDB(port, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		got, err := c.query("SELECT (SELECT sum(balance) FROM test.accounts), (SELECT count(*) " +
			"FROM test.history)")
		if want := fmt.Sprintf("%d|%d", money, asked); err != nil || got != want {
			t.Errorf("the bank has %q, want %q; %v", got, want, err)
		}
	}
	return s
}

func startJava(t testing.TB, port int) *server {
	return startReverse(t, port, "Server.java", "java", "-XX:-UsePerfData", "-Xmx256m",
		"-Dsun.net.httpserver.nodelay=true")
}

func startNode(t testing.TB, port int) *server {
	return startReverse(t, port, "server.js", "node")
}

func startPython(t testing.TB, port int) *server {
	return startReverse(t, port, "server.py", "/usr/bin/python3")
}

// startBubblewrap starts Python in a sandbox: without its own network only, which the clients need.
func startBubblewrap(t testing.TB, port int) *server {
	return startReverse(t, port, "server.py", "bwrap", "--unshare-all", "--share-net",
		"--die-with-parent", "--new-session", "--ro-bind", "/", "/", "--dev", "/dev", "--proc",
		"/proc", "/usr/bin/python3")
}

// startReverse starts a server of testdata.
func startReverse(t testing.TB, port int, script string, args ...string) *server {
	data, err := os.ReadFile(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home(t), script)
	write(t, file, data)
	s := launch(t, port, nobody, append(args, file, strconv.Itoa(port))...)
	s.dial = func(n int) (client, error) { return reversed(port, n), nil }
	return s
}

// family returns a process and all that descend from it.
func family(t testing.TB, root int) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	parents := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "stat")) // it may have ended
		rest := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(rest) > 1 && rest[0][0] != 'Z' {
			parents[pid], _ = strconv.Atoi(string(rest[1]))
		}
	}
	list := []int{root}
	for i := 0; i < len(list); i++ {
		for pid, parent := range parents {
			if parent == list[i] {
				list = append(list, pid)
			}
		}
	}
	return list
}
