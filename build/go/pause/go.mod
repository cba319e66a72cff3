module libre.sh/build/pause

go 1.22
