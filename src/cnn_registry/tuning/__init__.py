"""Search for the settings that train best: what is searched, the trials, and what is made of the best one."""
