"""The one door to each outside system; nobody else imports or starts it."""
