"""The file store: FileService over one object store, any S3 or a local folder. It knows nothing of tasks."""
