// Package examples holds processes to run, each in a folder of its own with its
// forms, its data and a README.
package examples

import "embed"

// Loan is the folder loan: a loan application with a worker's job and a person's
// task, whose every field is encrypted.
//
//go:embed loan
var Loan embed.FS

// Visit is the folder visit: a patient is examined by a doctor, who sees what the form
// of the task names.
//
//go:embed visit
var Visit embed.FS
