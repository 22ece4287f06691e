"""What every other room uses: settings, output that appears whole, processes, progress."""
