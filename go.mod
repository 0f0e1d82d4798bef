module rplan

go 1.26

require (
	github.com/BurntSushi/toml v1.6.0
	github.com/go-ldap/ldap/v3 v3.4.15
	github.com/urfave/cli/v2 v2.27.7
)
