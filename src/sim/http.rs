//! HTTP/1.1 on a loopback port, with faults on request.
