package local

import (
	"fmt"
	"maps"

	bolt "go.etcd.io/bbolt"
)

// configRecord is the config vars of a release. Most releases change few of them or none, and an
// app may have 32 KB: so they are kept whole with some releases only, and as changes since the
// release before with the others. Records of releases are never removed one by one, only with
// their app.
type configRecord struct {
	Config  map[string]string  `json:"config,omitempty"`
	Changes map[string]*string `json:"changes,omitempty"` // null removes
	// Since is how many releases back they stand whole; 0 is here.
	Since int `json:"since,omitempty"`
}

// wholeEvery is how many releases share one whole copy at the most: what a read costs, against
// what the copies take.
const wholeEvery = 32

// recordConfig is how the config vars of an app's next release are kept.
func recordConfig(tx *bolt.Tx, app string, version int, config map[string]string) (configRecord, error) {
	var before configRecord
	found, err := get(tx, bucketReleases, releaseKey(app, version-1), &before)
	if err != nil || !found || before.Since+1 >= wholeEvery {
		return configRecord{Config: maps.Clone(config)}, err
	}
	old, err := configIn(tx, app, version-1)
	if err != nil {
		return configRecord{}, err
	}
	changes := map[string]*string{}
	for key := range old {
		if _, kept := config[key]; !kept {
			changes[key] = nil
		}
	}
	for key, value := range config {
		if was, had := old[key]; !had || was != value {
			changes[key] = &value
		}
	}
	return configRecord{Changes: changes, Since: before.Since + 1}, nil
}

// configIn reads the config vars of a release.
func configIn(tx *bolt.Tx, app string, version int) (map[string]string, error) {
	var r configRecord
	found, err := get(tx, bucketReleases, releaseKey(app, version), &r)
	if err == nil && !found {
		err = fmt.Errorf("release %d of app %s is missing, and with it config vars", version, app)
	}
	if err != nil || r.Since == 0 {
		return orEmpty(r.Config), err
	}
	config, err := configIn(tx, app, version-1)
	if err != nil {
		return nil, err
	}
	for key, value := range r.Changes {
		if value == nil {
			delete(config, key)
		} else {
			config[key] = *value
		}
	}
	return config, nil
}

func (p *Platform) releasedConfig(app string, version int) (config map[string]string, err error) {
	err = p.db.View(func(tx *bolt.Tx) error {
		config, err = configIn(tx, app, version)
		return err
	})
	return config, err
}
