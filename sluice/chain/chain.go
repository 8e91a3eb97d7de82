// Package chain is the commands for a tenant's exported rule chains: what is wrong with them, and what they make of
// messages, without a platform.
package chain

// Chain is `sluice chain`.
type Chain struct {
	Lint Lint `cmd:"" help:"Say what is wrong with exported rule chains. The exit status is 1 if there is an error."`
	Test Test `cmd:"" help:"Run an exported rule chain, or a folder of cases, in this process: nothing leaves the machine."`
}
