package cassandra

import (
	"context"
	"errors"
	"fmt"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// Version is the version of the schema this code works with.
const Version = 2

// merging is the compaction of what is written with every message: tables of like size are merged, few at
// a time, deletes and late rows included, and a table in which everything has expired is dropped whole.
const merging = "compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'T4'}"

// reading rows in few places matters more than writing them twice: documents are read much more than changed.
const levelling = "compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'L10'}"

// schema is what makes version n of n-1, in steps that can be repeated. Existing tables keep the
// options their operator gave them.
var schema = map[int][]string{1: {
	`CREATE TABLE IF NOT EXISTS %s.probe (id int PRIMARY KEY, at bigint) WITH ` + merging,
	`CREATE TABLE IF NOT EXISTS %s.history (entity blob, day bigint, name blob, at int, v blob,
		PRIMARY KEY ((entity, day), name, at)) WITH ` + merging,
	`CREATE TABLE IF NOT EXISTS %s.days (entity blob, day bigint, until bigint, v tinyint,
		PRIMARY KEY (entity, day, until)) WITH ` + merging,
	`CREATE TABLE IF NOT EXISTS %s.latest (entity blob, name blob, era bigint, v blob,
		PRIMARY KEY (entity, name, era)) WITH ` + merging,
	`CREATE TABLE IF NOT EXISTS %s.eras (entity blob, name blob, era bigint,
		PRIMARY KEY (entity, name)) WITH ` + levelling,
	`CREATE TABLE IF NOT EXISTS %s.attributes (entity blob, scope tinyint, name blob, v blob,
		PRIMARY KEY (entity, scope, name)) WITH ` + merging,
	`CREATE TABLE IF NOT EXISTS %s.documents (tenant blob, kind smallint, id blob, version bigint, claims blob, body blob, ticket blob,
		PRIMARY KEY ((tenant, kind, id))) WITH ` + levelling,
	`CREATE TABLE IF NOT EXISTS %s.claims (claim blob, tenant blob, kind smallint, id blob, ticket blob, at bigint,
		PRIMARY KEY (claim)) WITH ` + levelling,
	`CREATE TABLE IF NOT EXISTS %s.list (tenant blob, kind smallint, id blob, v tinyint,
		PRIMARY KEY ((tenant, kind), id)) WITH ` + levelling,
}, 2: {
	`CREATE TABLE IF NOT EXISTS %s.rows (grp blob, key blob, v blob, PRIMARY KEY (grp, key)) WITH ` + merging,
}}

const versionTable = `CREATE TABLE IF NOT EXISTS %s.schema_version (id int PRIMARY KEY, version int)`

// schemaTimeout is the longest time one change of the schema may take: all nodes have to agree on it.
const schemaTimeout = 30 * time.Second

// Errors of a keyspace that cannot be worked with.
var (
	errMissing  = errors.New("it is not installed: run `sluice install`")
	errVersions = errors.New("it has another version")
)

// Install makes the keyspace and its tables, or brings them to Version. What is there is left as it
// is, so that it can be run again after any failure or kill. A keyspace of a newer version is refused.
// Only one Install may run at a time: Cassandra does not order changes of its schema.
func Install(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if _, err := o.validate(); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if err := install(ctx, o, nil); err != nil {
		return fmt.Errorf("install keyspace %s: %w", o.Keyspace, err)
	}
	return nil
}

// install takes its steps, each announced to before, if any; an error of it is the kill of a test.
func install(ctx context.Context, o Options, before func() error) error {
	o.Timeout = schemaTimeout
	session, err := connect(ctx, o, "")
	if err != nil {
		return err
	}
	defer session.Close()
	step := func(statement string, args ...any) error {
		if before != nil {
			if err := before(); err != nil {
				return err
			}
		}
		if err := session.Query(statement, args...).Consistency(gocql.Quorum).ExecContext(ctx); err != nil {
			_, meaning := classify(err)
			return fmt.Errorf("%w: %s: %w", meaning, statement, err)
		}
		return nil
	}
	replication, err := o.replication()
	if err != nil {
		return err
	}
	if err := step("CREATE KEYSPACE IF NOT EXISTS " + o.Keyspace + " WITH replication = " + replication); err != nil {
		return err
	}
	if err := step(fmt.Sprintf(versionTable, o.Keyspace)); err != nil {
		return err
	}
	is, err := readVersion(ctx, session, o.Keyspace)
	if err != nil && !errors.Is(err, errMissing) {
		return err
	}
	if is > Version {
		return fmt.Errorf("%w: %d, newer than this program's %d", errVersions, is, Version)
	}
	for version := is + 1; version <= Version; version++ {
		for _, statement := range schema[version] {
			if err := step(fmt.Sprintf(statement, o.Keyspace)); err != nil {
				return err
			}
		}
		// Last: a keyspace that has a version has all of it.
		if err := step("INSERT INTO "+o.Keyspace+".schema_version (id, version) VALUES (1, ?)", version); err != nil {
			return err
		}
	}
	return nil
}

// readVersion returns the keyspace's version; errMissing when none was finished.
func readVersion(ctx context.Context, session *gocql.Session, keyspace string) (version int, err error) {
	err = session.Query("SELECT version FROM "+keyspace+".schema_version WHERE id = 1").Consistency(gocql.Quorum).ScanContext(ctx, &version)
	var invalid *gocql.RequestErrInvalid
	switch {
	case errors.Is(err, gocql.ErrNotFound), errors.As(err, &invalid) && ofSchema(invalid.Message()):
		return 0, errMissing
	case err != nil:
		_, meaning := classify(err)
		return 0, fmt.Errorf("read its version: %w: %w", meaning, err)
	}
	return version, nil
}

// connectInstalled opens a session with a keyspace of the version this code knows how to use, and refuses others. Only where that
// fails is a session without a keyspace opened, to say why: a session takes as long as all the rest of a start.
func connectInstalled(ctx context.Context, o Options) (*gocql.Session, error) {
	session, err := connect(ctx, o, o.Keyspace)
	if err != nil {
		return nil, missing(ctx, o, err)
	}
	version, err := readVersion(ctx, session, o.Keyspace)
	if err == nil {
		err = checkVersion(version)
	}
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("keyspace %s: %w", o.Keyspace, err)
	}
	return session, nil
}

// missing says why no session with the keyspace could be opened: that it is not there, or what the driver said.
func missing(ctx context.Context, o Options, why error) error {
	session, err := connect(ctx, o, "")
	if err != nil {
		return err
	}
	defer session.Close()
	if _, err := readVersion(ctx, session, o.Keyspace); err != nil {
		return fmt.Errorf("keyspace %s: %w", o.Keyspace, err)
	}
	return why
}

// checkVersion refuses a version this code does not know how to use.
func checkVersion(version int) error {
	switch {
	case version < Version:
		return fmt.Errorf("%w: %d, older than this program's %d: run `sluice install`", errVersions, version, Version)
	case version > Version:
		return fmt.Errorf("%w: %d, newer than this program's %d: run a newer program", errVersions, version, Version)
	}
	return nil
}
