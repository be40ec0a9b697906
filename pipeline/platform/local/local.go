// Package local is the embedded platform: the part of Heroku's Platform API that deploys
// slugs, on loopback addresses, with a durable store behind it and real dynos.
//
// It is for newcomers who want to see the whole pipeline without an account, for users who
// test their deploys, and for slugfile's own tests. Clients made for api.heroku.com work
// against it unchanged. It never talks to any other machine.
package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/platform/dyno"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// DefaultListen is where the API listens unless told otherwise.
const DefaultListen = "127.0.0.1:5999"

// Options are the settings of a platform. The zero value is sensible.
type Options struct {
	// Listen is the API's address. Port 0 lets the kernel choose. Default: DefaultListen.
	Listen string
	// AllowNonLoopback permits a Listen address that other machines can reach.
	AllowNonLoopback bool
	// Log gets every log line of every app as it happens. It must not block.
	Log func(app, line string)
	// Clock tells the time that is written into resources and that URLs expire by.
	Clock func() time.Time
	// BootTimeout is how long a web dyno may take to listen. Default: 60 s, as on Heroku.
	BootTimeout time.Duration
	// RequestTimeout is how long a web dyno may take to begin its answer. Default: 30 s, and
	// then H12, as on Heroku.
	RequestTimeout time.Duration
	// IdleTimeout is how long nothing may move on the connections of a request. Default: 55 s,
	// and then H15, as on Heroku.
	IdleTimeout time.Duration
	// DrainTime is how long a web dyno that has been replaced may finish its requests before
	// it gets SIGTERM. Default: 30 s.
	DrainTime time.Duration
	// StopGrace is the time between SIGTERM and SIGKILL. Default: 30 s, as on Heroku.
	StopGrace time.Duration
	// PhaseTimeout limits a release phase. Default: 1 h, as on Heroku.
	PhaseTimeout time.Duration
	// RestartDelay is the wait before a crashed dyno starts again. It doubles up to 5 min with
	// every crash. Default: 2 s.
	RestartDelay time.Duration
	// BlobLifetime is how long a blob URL can be used. Default: 1 h.
	BlobLifetime time.Duration
	// SlugLimit is the largest slug in bytes, compressed. Default: 1 GB, as on Heroku.
	SlugLimit int64
	// KeepReleases and KeepFor are the retention: a release that is not among the last
	// KeepReleases of its app and is older than KeepFor expires, and its slug goes. Default: 20
	// and 30 days, as on Heroku. With a KeepFor below zero nothing expires.
	KeepReleases int
	KeepFor      time.Duration
	// SlugLife is how long a slug may stay unreleased. Default: a day; below zero it stays.
	SlugLife time.Duration
	// RetainEvery is how often the retention looks by itself. It also does at the start, after a
	// release, and when the clock is moved. Default: 1 h.
	RetainEvery time.Duration
	// UnpackLimit is the most bytes that a dyno may unpack, over the 1 GB that a slug may have
	// compressed. Default: 16 GiB.
	UnpackLimit int64
	// HeaderTimeout is how long a client may take for the header of a request, and for the body of
	// a call of the API. Default: 30 s.
	HeaderTimeout time.Duration
	// RateLimit is the number of calls that an account has in hand; 75 come back in a minute.
	// Default: 4,500, as on Heroku. Below zero there is no limit.
	RateLimit int
	// Boots, when set, says whether an app's dynos run in this process. The others are served
	// without: a command that only looks need not boot anything. Default: all run.
	Boots func(id, name string) bool
	// Plain runs dynos without namespaces.
	Plain bool
	// Private keeps other processes from finding this platform: it will be gone before they
	// are done with it.
	Private bool
	// Faults are rules of what goes wrong, as ParseFault reads them.
	Faults []FaultRule
	// FaultSeed makes their chances repeatable. Default: a random one.
	FaultSeed uint64
	// Fault, when set, is asked about every request to the API and to the blob store that none of
	// the Faults has hit.
	Fault func(*http.Request) *Fault
}

func (o *Options) defaults() {
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	if o.Log == nil {
		o.Log = func(string, string) {}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.BootTimeout <= 0 {
		o.BootTimeout = 60 * time.Second
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = 30 * time.Second
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 55 * time.Second
	}
	if o.DrainTime <= 0 {
		o.DrainTime = 30 * time.Second
	}
	if o.StopGrace <= 0 {
		o.StopGrace = dyno.DefaultGrace
	}
	if o.PhaseTimeout <= 0 {
		o.PhaseTimeout = time.Hour
	}
	if o.RestartDelay <= 0 {
		o.RestartDelay = 2 * time.Second
	}
	if o.BlobLifetime <= 0 {
		o.BlobLifetime = time.Hour
	}
	if o.SlugLimit <= 0 {
		// The stricter reading of "1 GB": devcenter.heroku.com/articles/limits.
		o.SlugLimit = 1_000_000_000
	}
	if o.KeepReleases <= 0 {
		o.KeepReleases = 20
	}
	if o.KeepFor == 0 {
		o.KeepFor = 30 * 24 * time.Hour
	}
	if o.SlugLife == 0 {
		o.SlugLife = 24 * time.Hour
	}
	if o.RetainEvery <= 0 {
		o.RetainEvery = time.Hour
	}
	if o.HeaderTimeout <= 0 {
		o.HeaderTimeout = 30 * time.Second
	}
	if o.RateLimit == 0 {
		o.RateLimit = 4500
	}
}

// Platform is an embedded platform on one data directory.
type Platform struct {
	dir    string
	opts   Options
	token  transport.Secret
	lock   *flock.Flock
	db     *bolt.DB
	meta   metaRecord
	clock  *clock
	faults *faults
	bucket *tokenBucket
	router http.Handler
	calls  *ring // of the API
	visits *ring // through the router
	// life is another one each time, pageKey opens the status page, once.
	life, pageKey string
	viewers       atomic.Int64  // of the status page
	moves         atomic.Uint64 // grows with every change that the status page shows

	// host is the address that apps and the API listen on, without a port.
	host              string
	api, blobs        *http.Server
	apiURL, blobURL   string
	blobHost          string
	run               context.Context
	stop              context.CancelFunc
	servers           sync.WaitGroup
	plainWarning      sync.Once
	closing, isClosed bool

	retention sync.Mutex // held while it runs

	mu          sync.Mutex
	fleets      map[string]*fleet
	streams     map[string]*stream
	logs        map[string]logSession
	ports       map[int]bool
	pageKeyUsed time.Time
}

// HeldError says that another process has the data directory.
type HeldError struct {
	Dir string
	// PID is the process that holds it; 0 when it did not say.
	PID int
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("open platform data directory %s: %s uses it; stop it, or give another directory", e.Dir, e.Holder())
}

// Holder is "process 123", or "another process" when it did not say.
func (e *HeldError) Holder() string {
	if e.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d", e.PID)
}

// Open opens the data directory, which is made when it is missing. Nothing listens before
// Start. It fails with *HeldError when another platform has the directory.
func Open(dir string, o Options) (*Platform, error) {
	o.defaults()
	k := &clock{base: o.Clock}
	o.Clock = k.now
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open platform data directory: %w", err)
	}
	if err := privateDir(dir); err != nil {
		return nil, fmt.Errorf("open platform data directory: %w", err)
	}
	faults, err := newFaults(o)
	if err != nil {
		return nil, fmt.Errorf("open platform: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	p := &Platform{
		dir: dir, opts: o, lock: lock, clock: k, faults: faults,
		bucket:  newTokenBucket(o.RateLimit, o.Clock),
		life:    randomHex(4),
		pageKey: randomHex(20),
		calls:   newRing(recentOfPlatform),
		visits:  newRing(recentOfPlatform),
		fleets:  map[string]*fleet{},
		streams: map[string]*stream{},
		logs:    map[string]logSession{},
		ports:   map[int]bool{},
	}
	if err := p.load(); err != nil {
		p.abandon()
		return nil, fmt.Errorf("open platform data directory %s: %w", dir, err)
	}
	p.router = p.routes()
	return p, nil
}

// lockDir takes the directory's lock, which dies with its process.
func lockDir(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, "lock")
	lock := flock.New(path, flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock platform data directory %s: %w", dir, err)
	}
	if !ok {
		text, _ := os.ReadFile(path) // only for the message; the lock itself has been refused
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return nil, &HeldError{Dir: dir, PID: pid}
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		_ = lock.Unlock()
		return nil, fmt.Errorf("lock platform data directory %s: %w", dir, err)
	}
	return lock, nil
}

// load reads what the directory holds and clears what a killed platform left.
func (p *Platform) load() error {
	scratch := filepath.Join(p.dir, "dynos")
	if err := removeScratch(scratch); err != nil {
		return err
	}
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return err
	}
	if err := removeTemps(p.dir); err != nil {
		return err
	}
	// The discovery file of a killed platform names a process that is gone.
	if err := os.Remove(filepath.Join(p.dir, infoFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var err error
	if p.token, err = loadToken(filepath.Join(p.dir, "token")); err != nil {
		return err
	}
	if p.db, err = bolt.Open(filepath.Join(p.dir, "platform.db"), 0o600, &bolt.Options{Timeout: 5 * time.Second}); err != nil {
		return fmt.Errorf("open platform.db: %w", err)
	}
	if err := p.prepare(); err != nil {
		return err
	}
	failpoint.Hit("local.start.settled")
	if err := p.retain(""); err != nil {
		return err
	}
	return p.sweep()
}

// removeScratch clears what dynos left. Whoever ran them is dead, and they die with it, but the
// kernel may not be done with that: one that writes to the last refills what was just emptied.
func removeScratch(dir string) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := os.RemoveAll(dir)
		if !errors.Is(err, syscall.ENOTEMPTY) || time.Now().After(deadline) {
			return err
		}
	}
}

// removeTemps drops the files that a killed platform was about to put in their places.
func removeTemps(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil && disk.IsTemp(e.Name()) {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

// loadToken reads the token of the directory, or makes one.
func loadToken(path string) (transport.Secret, error) {
	text, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(text))) >= 32 {
		return transport.Secret(strings.TrimSpace(string(text))), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	token := randomHex(20)
	return transport.Secret(token), disk.WriteFile(path, []byte(token+"\n"), 0o600)
}

// Start listens, and boots the dynos of the current releases. It returns once everything
// listens; dynos come up after it.
func (p *Platform) Start(ctx context.Context) error {
	api, blobs, err := p.listen(ctx)
	if err != nil {
		p.abandon()
		return fmt.Errorf("start platform: %w", err)
	}
	// The dynos outlive the context of Start; Close ends them.
	p.run, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	apps, err := p.allApps()
	for _, app := range apps {
		if err != nil {
			break
		}
		if _, err = p.openFleet(app); err != nil {
			err = fmt.Errorf("app %s: %w", app.Name, err)
		}
	}
	p.servers.Go(p.keepRetaining)
	p.api = p.serve(api, p.checkHost(p.apiEntry(), true))
	p.blobs = p.serve(blobs, p.checkHost(p.faulty(listenerBlob, http.HandlerFunc(p.serveBlob)), false))
	if err == nil && !p.opts.Private {
		err = p.writeInfo()
	}
	if err != nil {
		_ = p.Close(ctx) // the first fault is the one to tell
		return fmt.Errorf("start platform: %w", err)
	}
	return nil
}

// abandon gives back what Open and listen took, when nothing runs yet.
func (p *Platform) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed {
		return
	}
	p.isClosed = true
	if p.db != nil {
		_ = p.db.Close()
	}
	_ = p.lock.Unlock() // the file stays: deleting a lock file would let two processes hold it
}

// Close stops the listeners and the dynos: SIGTERM, the grace, SIGKILL. When ctx ends,
// SIGKILL comes at once. All that was answered is on disk already.
func (p *Platform) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.isClosed || p.closing {
		p.mu.Unlock()
		return nil
	}
	p.closing = true
	fleets := make([]*fleet, 0, len(p.fleets))
	for _, f := range p.fleets {
		fleets = append(fleets, f)
	}
	p.mu.Unlock()

	_ = os.Remove(filepath.Join(p.dir, infoFile)) // Discover checks that somebody answers anyway
	var wait sync.WaitGroup
	for _, f := range fleets {
		wait.Go(func() { f.close(ctx) })
	}
	wait.Wait()
	if p.stop != nil {
		p.stop()
	}
	quick, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, s := range []*http.Server{p.api, p.blobs} {
		if s == nil {
			continue
		}
		// Streams and uploads that are still open are cut: the platform is going.
		if s.Shutdown(quick) != nil {
			_ = s.Close()
		}
	}
	p.servers.Wait()
	err := p.db.Close()
	p.mu.Lock()
	p.isClosed = true
	p.mu.Unlock()
	if unlockErr := p.lock.Unlock(); err == nil {
		err = unlockErr
	}
	if err != nil {
		return fmt.Errorf("close platform: %w", err)
	}
	return nil
}

// URL is the base of the API, without a final slash. It is empty before Start.
func (p *Platform) URL() string { return p.apiURL }

// Exposed says that other machines can reach the platform.
func (p *Platform) Exposed() bool { return p.apiURL != "" && !isLoopbackHost(p.host) }

// BlobURL is the base of the blob store, on another host name than the API.
func (p *Platform) BlobURL() string { return p.blobURL }

// Token is the platform's only token. It is the same for the life of the data directory.
func (p *Platform) Token() transport.Secret { return p.token }

// Info is what platform.json tells other processes.
func (p *Platform) Info() Info {
	return Info{API: p.apiURL, Blob: p.blobURL, Token: p.token, PID: os.Getpid()}
}

// Dir is the absolute path of the data directory.
func (p *Platform) Dir() string { return p.dir }

// WebURL is the address of an app, with a final slash; empty when there is no such app.
func (p *Platform) WebURL(app string) string {
	rec, err := p.findApp(app)
	if err != nil {
		return ""
	}
	return p.webURL(rec)
}

func (p *Platform) webURL(app appRecord) string {
	return "http://" + net.JoinHostPort(p.shownHost(), strconv.Itoa(app.Port)) + "/"
}

// shownHost is the host name that URLs carry.
func (p *Platform) shownHost() string {
	if ip := net.ParseIP(p.host); p.host == "" || ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return p.host
}

func (p *Platform) now() time.Time { return p.opts.Clock().UTC().Truncate(time.Second) }

// listen binds the API and the blob store. Nobody is served before the apps are there.
func (p *Platform) listen(ctx context.Context) (api, blobs net.Listener, err error) {
	host, _, err := net.SplitHostPort(p.opts.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listen address %q is not of the form 127.0.0.1:5999: %w", p.opts.Listen, err)
	}
	loopback := isLoopbackHost(host)
	if !loopback && !p.opts.AllowNonLoopback {
		return nil, nil, fmt.Errorf("listen address %q can be reached from other machines: listen on 127.0.0.1, or allow it with --allow-remote", p.opts.Listen)
	}
	p.host = host
	var lc net.ListenConfig
	if api, err = lc.Listen(ctx, "tcp", p.opts.Listen); err != nil {
		return nil, nil, err
	}
	if blobs, p.blobHost, err = p.listenBlobs(ctx, host, loopback); err != nil {
		_ = api.Close()
		return nil, nil, err
	}
	p.apiURL = "http://" + net.JoinHostPort(p.shownHost(), strconv.Itoa(portOf(api)))
	p.blobURL = "http://" + net.JoinHostPort(p.blobHost, strconv.Itoa(portOf(blobs)))
	return api, blobs, nil
}

// listenBlobs puts the blob store on another host name than the API, so that a client that
// sends its token along to the blob store is found out.
func (p *Platform) listenBlobs(ctx context.Context, host string, loopback bool) (net.Listener, string, error) {
	var lc net.ListenConfig
	if !loopback {
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
		return l, p.shownHost(), err
	}
	if host != "127.0.0.2" {
		// Linux answers on all of 127.0.0.0/8; other systems on 127.0.0.1 alone.
		if l, err := lc.Listen(ctx, "tcp", "127.0.0.2:0"); err == nil {
			return l, "127.0.0.2", nil
		}
	}
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	return l, "localhost", err
}

// maxHeader is the most that the header of a request may take. Heroku's router stops at less.
const maxHeader = 64 << 10

// serve runs a server whose requests can be cut at any byte.
func (p *Platform) serve(l net.Listener, h http.Handler) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: p.opts.HeaderTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:          discardLog,
	}
	p.servers.Go(func() { _ = s.Serve(l) }) // it returns when the server is closed
	return s
}

// Info is how another process finds a running platform.
type Info struct {
	API   string
	Blob  string
	Token transport.Secret
	PID   int
}

// infoFile is the discovery file in the data directory.
const infoFile = "platform.json"

type infoDoc struct {
	API   string `json:"api"`
	Blob  string `json:"blob"`
	Token string `json:"token"`
	PID   int    `json:"pid"`
}

func (p *Platform) writeInfo() error {
	i := p.Info()
	text, err := json.MarshalIndent(infoDoc{API: i.API, Blob: i.Blob, Token: i.Token.Reveal(), PID: i.PID}, "", "  ")
	if err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(p.dir, infoFile), append(text, '\n'), 0o600)
}

// Discover finds the platform that runs on a data directory. It says false when none runs,
// and when the one that is named there does not answer within a second.
func Discover(dir string) (Info, bool) {
	text, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		return Info{}, false
	}
	var doc infoDoc
	if json.Unmarshal(text, &doc) != nil || doc.API == "" {
		return Info{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// The one call that neither a fault nor a rate limit keeps from being answered.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, doc.API+faultPath, nil)
	if err != nil {
		return Info{}, false
	}
	req.Header.Set("Authorization", "Bearer "+doc.Token)
	// Its own transport without a proxy: the token must not go through one.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return Info{}, false
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Request-Id") == "" {
		return Info{}, false
	}
	return Info{API: doc.API, Blob: doc.Blob, Token: transport.Secret(doc.Token), PID: doc.PID}, true
}

// randomHex gives 2n hex digits that nobody can guess.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails since Go 1.24: it ends the program instead
	return hex.EncodeToString(b)
}

// newID is a random UUID (version 4).
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // see randomHex
	return uuid(b)
}

// uuid writes 16 bytes as a UUID.
func uuid(b []byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
