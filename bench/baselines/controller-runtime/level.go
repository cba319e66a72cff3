package main

import "go.uber.org/zap/zapcore"

// zapLevel is warnings and worse: logging is not what is measured.
type zapLevel int8

func (l zapLevel) Enabled(level zapcore.Level) bool { return level >= zapcore.Level(l) }
