"""Data of the held-out tasks that no other task uses; `NOTICE.md` has the licences."""
