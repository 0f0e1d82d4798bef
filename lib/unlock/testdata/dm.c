/* Preloaded into systemd-cryptsetup where there is no device-mapper: it tries the passphrase as ever, and leaves a
   mark where the mapping would be; or fails, as where that cannot be made. */
void *dlsym(void *, const char *);
int snprintf(char *, unsigned long, const char *, ...);
int creat(const char *, unsigned);
int close(int);
int access(const char *, int);

int crypt_activate_by_passphrase(void *device, const char *name, int slot, const char *passphrase, unsigned long size, unsigned flags)
{
	int (*real)(void *, const char *, int, const char *, unsigned long, unsigned) = dlsym((void *)-1L, "crypt_activate_by_passphrase");
	char mark[300];
	int opened = real(device, 0, slot, passphrase, size, flags & 0);

	if (!access("/run/no-mapping", 0))
		return -16; /* EBUSY */
	if (opened >= 0) {
		snprintf(mark, sizeof mark, "/dev/mapper/%s", name);
		close(creat(mark, 0600));
	}
	return opened;
}
