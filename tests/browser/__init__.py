"""The product as people use it: real Chromium windows in front of the real demo, from the first word to the mail."""
