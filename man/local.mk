dist_man1_MANS = man/vublk-bench.1
dist_man8_MANS = man/vublkctl.8 man/vublkd.8
