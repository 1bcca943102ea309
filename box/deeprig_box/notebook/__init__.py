"""JupyterLab and TensorBoard: started, asked, and kept out of other hands."""
