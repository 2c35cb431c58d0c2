"""The shipped networks beside `photo`, as data: a folder each, found by `pellucid.zoo`."""
