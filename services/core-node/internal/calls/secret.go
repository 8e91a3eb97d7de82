package calls

import "crypto/subtle"

// sameSecret takes as long whatever the secrets have in common.
func sameSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
