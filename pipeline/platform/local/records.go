package local

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// The buckets of platform.db. Values are JSON; a later field is simply missing in an old one.
var (
	bucketMeta     = []byte("meta")
	bucketApps     = []byte("apps")     // app id -> appRecord
	bucketNames    = []byte("names")    // app name -> app id
	bucketSlugs    = []byte("slugs")    // slug id -> slugRecord
	bucketKeys     = []byte("keys")     // the key of a slug's blob URL -> slug id
	bucketReleases = []byte("releases") // app id, version (8 bytes) -> releaseRecord
)

// dbFormat is the form of the records. A program that does not know it would lose config vars.
const dbFormat = 2

// metaRecord is what holds for the whole platform.
type metaRecord struct {
	Format    int       `json:"format"`
	AccountID string    `json:"account_id"`
	BlobKey   string    `json:"blob_key"` // the HMAC key of blob URLs, hex
	CreatedAt time.Time `json:"created_at"`
	// ClockOffset is how far the clock was moved.
	ClockOffset time.Duration `json:"clock_offset,omitempty"`
}

type appRecord struct {
	ID          string                     `json:"id"`
	Name        string                     `json:"name"`
	Region      string                     `json:"region"`
	Stack       string                     `json:"stack"`
	BuildStack  string                     `json:"build_stack"`
	Maintenance bool                       `json:"maintenance"`
	Description *string                    `json:"buildpack_provided_description,omitempty"`
	Port        int                        `json:"port"`
	Config      map[string]string          `json:"config"`
	Formation   map[string]formationRecord `json:"formation"`
	// Features are those that are on, by name.
	Features map[string]bool `json:"features,omitempty"`
	// Team owns the app; nil means that the account does.
	Team   *platform.Ref `json:"team,omitempty"`
	Locked bool          `json:"locked,omitempty"`
	// Version is the newest release's, Current the live one's.
	Version    int        `json:"version"`
	Current    int        `json:"current"`
	SlugSize   *int64     `json:"slug_size,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
	ReleasedAt *time.Time `json:"released_at,omitempty"`
}

type formationRecord struct {
	ID        string    `json:"id"`
	Quantity  int       `json:"quantity"`
	Size      string    `json:"size"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

type slugRecord struct {
	ID                string            `json:"id"`
	App               string            `json:"app"`
	Stack             string            `json:"stack"`
	ProcessTypes      map[string]string `json:"process_types"`
	Checksum          *string           `json:"checksum,omitempty"`
	Commit            *string           `json:"commit,omitempty"`
	CommitDescription *string           `json:"commit_description,omitempty"`
	Description       *string           `json:"buildpack_provided_description,omitempty"`
	// Key is the unguessable path of its blob URL, File the name of the blob on disk, which
	// is another one for each upload. File is empty until the first upload.
	Key       string    `json:"key"`
	File      string    `json:"file,omitempty"`
	Size      int64     `json:"size,omitempty"`
	MD5       string    `json:"md5,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

type releaseRecord struct {
	ID          string `json:"id"`
	App         string `json:"app"`
	Version     int    `json:"version"`
	Status      string `json:"status"`
	Description string `json:"description"`
	Slug        string `json:"slug,omitempty"`
	configRecord
	// Stream is the unguessable name of the release phase's output.
	Stream    string    `json:"stream,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// prepare makes the buckets, and settles what a killed platform left open.
func (p *Platform) prepare() error {
	return p.db.Update(func(tx *bolt.Tx) error {
		indexed := tx.Bucket(bucketKeys) != nil
		for _, b := range [][]byte{
			bucketMeta, bucketApps, bucketNames, bucketSlugs, bucketKeys, bucketReleases,
			bucketTeams, bucketPipelines, bucketCouplings, bucketPromotions,
		} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		ok, err := get(tx, bucketMeta, []byte("meta"), &p.meta)
		if err != nil {
			return err
		}
		if !ok {
			p.meta = metaRecord{Format: dbFormat, AccountID: newID(), BlobKey: randomHex(32), CreatedAt: p.now()}
			return put(tx, bucketMeta, []byte("meta"), p.meta)
		}
		switch p.meta.Format {
		case dbFormat:
		case 1:
			// Each release has all its config vars there, which is a form that is read still.
			p.meta.Format = dbFormat
			if err := put(tx, bucketMeta, []byte("meta"), p.meta); err != nil {
				return err
			}
		default:
			return fmt.Errorf("platform.db has format %d, which this version of slugfile does not know: use the one that made it, or another directory", p.meta.Format)
		}
		p.clock.offset.Store(int64(p.meta.ClockOffset))
		if !indexed {
			// A directory from before there was an index.
			if err := each(tx, bucketSlugs, nil, func(s slugRecord) error {
				return tx.Bucket(bucketKeys).Put([]byte(s.Key), []byte(s.ID))
			}); err != nil {
				return err
			}
		}
		return p.failInterrupted(tx)
	})
}

// failInterrupted ends the release phases that died with the platform.
func (p *Platform) failInterrupted(tx *bolt.Tx) error {
	var open []dueRelease
	err := each(tx, bucketReleases, nil, func(r dueRelease) error {
		if r.Status == platform.Pending {
			open = append(open, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range open {
		var r releaseRecord
		if _, err := get(tx, bucketReleases, releaseKey(d.App, d.Version), &r); err != nil {
			return err
		}
		r.Status, r.UpdatedAt = platform.Failed, p.now()
		if err := put(tx, bucketReleases, releaseKey(r.App, r.Version), r); err != nil {
			return err
		}
		p.breakStream(r.Stream)
	}
	return nil
}

func get(tx *bolt.Tx, bucket, key []byte, into any) (bool, error) {
	text := tx.Bucket(bucket).Get(key)
	if text == nil {
		return false, nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return false, fmt.Errorf("read %s from platform.db: %w", bucket, err)
	}
	return true, nil
}

func put(tx *bolt.Tx, bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put(key, text)
}

// each visits the values whose key begins with prefix, in the order of their keys, until a visit
// fails; errEnough ends it without a fault.
func each[T any](tx *bolt.Tx, bucket, prefix []byte, visit func(T) error) error {
	c := tx.Bucket(bucket).Cursor()
	for k, text := c.Seek(prefix); k != nil && len(k) >= len(prefix) && string(k[:len(prefix)]) == string(prefix); k, text = c.Next() {
		var v T
		if err := json.Unmarshal(text, &v); err != nil {
			return fmt.Errorf("read %s from platform.db: %w", bucket, err)
		}
		if err := visit(v); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
	}
	return nil
}

// releaseKey sorts the releases of an app by version.
func releaseKey(app string, version int) []byte {
	return binary.BigEndian.AppendUint64([]byte(app), uint64(version))
}

// appIn finds an app by id or name.
func appIn(tx *bolt.Tx, ident string) (appRecord, error) {
	var app appRecord
	id := ident
	if named := tx.Bucket(bucketNames).Get([]byte(ident)); named != nil {
		id = string(named)
	}
	ok, err := get(tx, bucketApps, []byte(id), &app)
	if err == nil && !ok {
		err = notFound("app", "Couldn't find that app.")
	}
	return app, err
}

func putApp(tx *bolt.Tx, app appRecord) error {
	return put(tx, bucketApps, []byte(app.ID), app)
}

func (p *Platform) findApp(ident string) (appRecord, error) {
	var app appRecord
	err := p.db.View(func(tx *bolt.Tx) (err error) {
		app, err = appIn(tx, ident)
		return err
	})
	return app, err
}

// allApps are sorted by name.
func (p *Platform) allApps() ([]appRecord, error) {
	var apps []appRecord
	err := p.db.View(func(tx *bolt.Tx) error {
		return each(tx, bucketApps, nil, func(a appRecord) error {
			apps = append(apps, a)
			return nil
		})
	})
	slices.SortFunc(apps, func(a, b appRecord) int { return cmp.Compare(a.Name, b.Name) })
	return apps, err
}

func slugIn(tx *bolt.Tx, id string) (slugRecord, error) {
	var slug slugRecord
	ok, err := get(tx, bucketSlugs, []byte(id), &slug)
	if err == nil && !ok {
		err = notFound("slug", "Couldn't find that slug.")
	}
	return slug, err
}

// releasesOf lists an app's releases, oldest first.
func releasesOf(tx *bolt.Tx, app string) ([]releaseRecord, error) {
	var list []releaseRecord
	err := each(tx, bucketReleases, []byte(app), func(r releaseRecord) error {
		list = append(list, r)
		return nil
	})
	return list, err
}

// currentIn is the live release of an app.
func currentIn(tx *bolt.Tx, app appRecord) (releaseRecord, error) {
	var r releaseRecord
	ok, err := get(tx, bucketReleases, releaseKey(app.ID, app.Current), &r)
	if err == nil && !ok {
		err = fmt.Errorf("app %s has no release %d", app.Name, app.Current)
	}
	return r, err
}
