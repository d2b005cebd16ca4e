{
 "algorithm": "ed25519",
 "key": "703caa6d7fec7ae6",
 "sha256": "c818c09d3fc6cc2e65d592a8df7c0f125f05312abec9c8da43ee2082b81fb595",
 "contract": "1",
 "kind": "classifier",
 "release": 3,
 "signature": "BAXdhYaZ7jgt+j0uFzTlWyEYylMV+KTYVYdgAbHmNKh1SblRfNImnI8aTxu542rWARcvD3MCZRqq9VWvYRdhCw=="
}
