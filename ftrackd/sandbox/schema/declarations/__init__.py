"""The entity types of the sandbox in a compact form, one text file for each subject.

A type is a paragraph: its name (``Shot < Context`` specialises another), directives, and attributes::

    Appointment
        @unique ...                     a directive, see below
        id                uid           text key that clients fill with a new uuid
        type              string *      a scalar; its marks: * required, ! immutable, ^ computed
        comment           string = ""   with a default, a JSON literal
        task_id           key Task.id cascade ~taskid
                                        foreign key; what happens to this row when the target goes (cascade,
                                        clear, restrict, or free: no constraint); ~ precedes the legacy name
        context           -> Context    reference by the scalar context_id, or ``on`` another one
        notes             [Note] on parent_id where ...
                                        collection: targets whose parent_id is our id
        scopes            [Scope] through context_scope(context_id, scope_id)
                                        collection over association rows; ``as X``: they are entities X
        metadata          {Metadata} on parent_id
                                        the same, shown as a mapping
        link              computed link type ...
                                        made by the function of that name in ``computed.py``

Further words of an attribute: ``column C`` (shares the column of another), ``choices a|b``, ``where C=V`` (of
target or association rows), ``of C`` (our side is column C, not id), ``on A to B`` (their side is B).
``[Task as TypedContext]`` states Task in the schema while rows of any TypedContext may be members.

Directives: ``@key`` (default: id), ``@default`` and ``@system`` projections, ``@legacy`` table with
classifiers, ``@groupable``, ``@required`` and ``@immutable`` (for inherited attributes), ``@hint``,
``@typeless``; and for the storage ``@table``, ``@view``, ``@column``, ``@types`` (columns that decide the
type of a row), ``@rows`` (values of those), ``@unique``, ``@index``, ``@abstract``.
"""
