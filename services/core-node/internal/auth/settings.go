package auth

import "time"

// Settings are what operators set of how people log in.
type Settings struct {
	AccessTTL       time.Duration `name:"auth-access-ttl" help:"How long an access token works." default:"2h30m"`
	RefreshTTL      time.Duration `name:"auth-refresh-ttl" help:"How long a refresh token works." default:"168h"`
	Issuer          string        `name:"auth-issuer" help:"Issuer named in tokens." default:"thingsboard.io"`
	MaxFailedLogins int           `name:"auth-max-failed-logins" help:"Wrong passwords in a row before a user is locked; 0 locks nobody." default:"0"`
	MinPassword     int           `name:"auth-min-password" help:"Least characters of a password." default:"6"`
	MaxPassword     int           `name:"auth-max-password" help:"Most characters of a password." default:"72"`
	CacheTTL        time.Duration `name:"auth-cache-ttl" help:"How long this node trusts what it knows of a user or session: as late it may learn of a logout elsewhere." default:"5s"`
	CacheEntries    int           `name:"auth-cache-entries" help:"Most users, and most sessions, remembered." default:"10000"`
}

// DefaultSettings are the settings nobody changed, for tests and code that has no flags.
func DefaultSettings() Settings {
	return Settings{
		AccessTTL: 9000 * time.Second, RefreshTTL: 604800 * time.Second, Issuer: "thingsboard.io",
		MinPassword: 6, MaxPassword: 72, CacheTTL: 5 * time.Second, CacheEntries: 10000,
	}
}
