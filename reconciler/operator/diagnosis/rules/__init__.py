"""Rules turn facts into reasons; the first reason counts. A rule reads no database and no clock."""
