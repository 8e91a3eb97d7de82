// Package deploy holds deploy/ to its rules: what faces the world, what a container may do, where
// secrets come from, and that every setting is documented. It reads files only; the build tag
// `compose` adds what needs openssl and haproxy.
package deploy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// folder is where the fleet's files are, from this package.
const folder = "../../deploy"

// ours are the roles of our own image; init is one, too.
var ours = map[string]bool{"init": true, "core-node": true, "mqtt-transport": true, "http-transport": true, "coap-transport": true, "js-executor": true}

// Load reads the compose file as `docker compose` does, with all profiles and the given variables besides none of the process's own.
func Load(ctx context.Context, variables ...string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(folder, "compose", "compose.yaml")},
		cli.WithEnv(variables), cli.WithProfiles([]string{"*"}), cli.WithResolvedPaths(true))
	if err != nil {
		return nil, fmt.Errorf("compose options: %w", err)
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return nil, fmt.Errorf("load compose file: %w", err)
	}
	return project, nil
}

// variable is one ${NAME:-default} of the compose file.
type variable struct{ name, fallback string }

var reference = regexp.MustCompile(`\$\{([A-Z_]+)(?:(:?[-?])([^}]*))?\}`)

// variables are all that the compose file reads, in its order, each once for every default it has.
func variables() ([]variable, error) {
	text, err := os.ReadFile(filepath.Join(folder, "compose", "compose.yaml"))
	if err != nil {
		return nil, err
	}
	var found []variable
	seen := map[variable]bool{}
	for _, match := range reference.FindAllStringSubmatch(string(text), -1) {
		v := variable{name: match[1]}
		if strings.HasSuffix(match[2], "-") {
			v.fallback = match[3]
		}
		if !seen[v] {
			seen[v] = true
			found = append(found, v)
		}
	}
	return found, nil
}

var setting = regexp.MustCompile(`^(?:# )?([A-Z_]+)=(.*)$`)

// documented are the variables of .env.example and their defaults.
func documented() (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "compose", ".env.example"))
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if match := setting.FindStringSubmatch(strings.TrimSpace(line)); match != nil {
			found[match[1]] = match[2]
		}
	}
	return found, nil
}
