// Package examples holds processes to run, each in a folder of its own with its
// forms, its data and a README.
package examples

import "embed"

// Loan is the folder loan: a loan application with a worker's job and a person's
// task, whose every field is encrypted.
//
//go:embed loan
var Loan embed.FS
