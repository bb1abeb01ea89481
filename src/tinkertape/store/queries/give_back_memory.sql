-- give_back_memory: what the engine's allocator holds and nobody uses goes back to the system.
SYSTEM JEMALLOC PURGE
