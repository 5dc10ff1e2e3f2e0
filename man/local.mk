dist_man8_MANS = man/vublkd.8
