"""What should exist: pure builders of Kubernetes objects, names and labels. No clock, no chance, no I/O."""
