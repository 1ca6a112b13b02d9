"""The commands, by theme. `musicae.cli` joins them; nothing else imports them."""
