"""Cards that go to a guest, and the guest that gets them."""
