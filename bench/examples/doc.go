// Package examples holds whole programs that show what a consumer promises when it dies, as the README explains them:
//
//	atleastonce  works, then commits
//	atmostonce   commits, then works
//	exactlyonce  stores the offset with the result, in one stroke
//
// The test kills them in the middle of it and looks if they kept their promise.
package examples
