//! A gateway from ZeroMQ to browsers: one thread, one poller, one direction.
